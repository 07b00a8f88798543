# Tries everything that a process can do with a network to leave the namespace that it is in:
#   perl leave.pl NAME ADDRESS…
# One line for each try: what it was, and what the kernel said. Whether anything left is not for this
# script to know: it is counted outside.
use strict;
use warnings;
use Socket qw(:all);
use IO::Socket::IP;

my ($name, @aims) = @ARGV;
$| = 1;

sub told { printf "%s: %s\n", shift, shift ? 'accepted' : "refused, $!" }

# A question of type A for our name, as resolvers send it.
my $question = pack('n6', 4711, 0x0100, 1, 0, 0, 0)
    . join('', map { pack('C/a', $_) } split /\./, $name) . pack('Cnn', 0, 1, 1);

sub address {
    my ($ip, $port) = @_;
    return $ip =~ /:/
        ? (AF_INET6, pack_sockaddr_in6($port, inet_pton(AF_INET6, $ip)))
        : (AF_INET, pack_sockaddr_in($port, inet_pton(AF_INET, $ip)));
}

for my $ip (@aims) {
    for my $port (53, 123, 443, 3478, 5353) {
        my ($family, $to) = address($ip, $port);
        my $udp;
        my $sent = socket($udp, $family, SOCK_DGRAM, 0)
            && setsockopt($udp, SOL_SOCKET, SO_BROADCAST, 1)
            && send($udp, $question, 0, $to);
        told("UDP to $ip port $port", $sent);
    }
    my $six = $ip =~ /:/;
    # Echo requests by the sockets that ping has, and raw ones with whatever header.
    my $echo = pack('CCnnn', $six ? 128 : 8, 0, $six ? 0 : 0xf7fe, 1, 0);
    my ($family, $to) = address($ip, 0);
    my $icmp = $six ? 58 : 1;
    for my $kind ([SOCK_DGRAM, $icmp], [SOCK_RAW, $icmp], [SOCK_RAW, 255]) {
        my $raw = $kind->[1] == 255 && !$six
            ? pack('CCnnnCCna4a4', 0x45, 0, 28, 1, 0, 64, 1, 0, pack('x4'), inet_pton(AF_INET, $ip)) . $echo
            : $echo;
        my $ping;
        my $sent = socket($ping, $family, $kind->[0], $kind->[1]) && send($ping, $raw, 0, $to);
        told("socket type $kind->[0], protocol $kind->[1] to $ip", $sent);
    }
}

# Frames of our own making on every interface: ARP, and UDP to everybody.
open(my $links, '<', '/proc/net/dev') or die $!;
for my $link (map { /^\s*(\S+):/ ? $1 : () } <$links>) {
    my $request = pack('a16x24', $link);
    my $packet;
    my $made = socket($packet, 17, SOCK_RAW, 0x0300) && ioctl($packet, 0x8933, $request);
    my $index = $made ? unpack('x16i', $request) : 0;
    my $frame = ("\xff" x 6) . pack('a6n', "\x02chasr", 0x0806)
        . pack('nnCCna6a4a6a4', 1, 0x0800, 6, 4, 1, "\x02chasr", pack('C4', 10, 77, 1, 9), '',
            pack('C4', 10, 77, 1, 1));
    my $to = pack('SnlSCCa8', 17, 0x0806, $index, 1, 0, 6, "\xff" x 6);
    told("a frame on $link", $made && send($packet, $frame, 0, $to));
}

# All at once: what nobody answers takes its time.
my @asked;
for my $ip (@aims) {
    for my $port (22, 53, 80, 443, 3128, 3478, 8443, 9222, 20000 .. 20003) {
        my ($family, $to) = address($ip, $port);
        my $tcp;
        socket($tcp, $family, SOCK_STREAM, 0) or die $!;
        $tcp->blocking(0);
        push @asked, [$tcp, $to, "TCP to $ip port $port"];
    }
}
connect($_->[0], $_->[1]) for @asked;
sleep 2;
for (@asked) {
    my $tcp = $_->[0];
    $! = unpack('i', getsockopt($tcp, SOL_SOCKET, SO_ERROR));
    told($_->[2], defined(getpeername($tcp)));
}

told("the name $name by the C library", defined(gethostbyname($name)));
my ($failed, @found) = getaddrinfo($name, 'http');
told("the name $name in both families", !$failed && @found);
print "done\n";
