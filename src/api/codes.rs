//! The one table from what an error means to how it is answered.

use tonic::Code;

use crate::model::Class;

/// How a class of error is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codes {
    /// Over gRPC.
    pub grpc: Code,
    /// Over HTTP.
    pub http: u16,
}

/// How errors of `class` are answered.
#[must_use]
pub const fn codes(class: Class) -> Codes {
    let (grpc, http) = match class {
        Class::Invalid => (Code::InvalidArgument, 400),
        Class::Unauthorised => (Code::Unauthenticated, 401),
        Class::NotFound => (Code::NotFound, 404),
        Class::Conflict => (Code::FailedPrecondition, 409),
        Class::Exhausted => (Code::ResourceExhausted, 503),
        Class::Unavailable => (Code::Unavailable, 503),
        Class::Internal => (Code::Internal, 500),
    };
    Codes { grpc, http }
}
