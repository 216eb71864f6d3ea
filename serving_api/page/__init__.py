"""The page at `/`: static files, and the worked example of how a frontend uses this API."""
