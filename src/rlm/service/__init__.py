"""`rlm serve`: runs over HTTP and WebSocket. Each face turns a protocol into requests and events, and holds no state of
runs; the desk takes them for all of them."""
