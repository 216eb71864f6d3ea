"""What is pushed: a player's own events and numbers over WebSockets, the platform's over SSE."""
