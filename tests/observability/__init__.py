"""The dashboard and the alert rules, with a real Prometheus and real proxies and controllers."""
