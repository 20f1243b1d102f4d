"""What stands before both servers, `serve` and `mcp --http`: how many callers there may be, and for how long each.

    callers -> server.Server -> connection.Connection -> (ASGI) gate.Gate -> the application

`Server` accepts, closes who waits longest where there are too many, and gives up who is too slow. `Gate` lets a request
in when its body is there and a place is free. Both go by the same `Bounds`.
"""
