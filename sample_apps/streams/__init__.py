"""An aiohttp app whose requests last: server-sent events, a WebSocket, long polls, slow and chunked answers."""
