# Nomad Autoscaler: a policy for a cluster of chaser nodes, by what Prometheus scrapes from their admin ports.
# The node that goes is drained by Nomad; its `chaser-node` task has kill_timeout longer than node.drain_deadline
# and `chaser node drain --wait` as its stop command.
scaling "browsers" {
  enabled = true
  min     = 1
  max     = 20

  policy {
    cooldown            = "5m"
    evaluation_interval = "30s"

    # Four fifths of the slots in use is enough; below two fifths a node may go.
    check "utilization" {
      source = "prometheus"
      query  = "100 * sum(chaser_node_sessions{phase=~\"creating|ready\"}) / sum(chaser_node_sessions_max)"

      strategy "target-value" {
        target    = 80
        threshold = 0.5
      }
    }

    # Orders that wait are a reason of their own.
    check "pending" {
      source = "prometheus"
      query  = "sum(chaser_node_pending_claims)"

      strategy "threshold" {
        lower_bound = 4
        delta       = 1
      }
    }

    target "aws-asg" {
      aws_asg_name        = "browsers"
      node_class          = "browsers"
      node_drain_deadline = "30m"
      node_selector_strategy = "empty_ignore_system"
    }
  }
}
