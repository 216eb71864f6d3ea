"""The dashboards; `python -m grafana.dashboards.generate` writes them to grafana/json."""
