"""What people look at: dashboards as code, and the files that Grafana is provisioned with."""
