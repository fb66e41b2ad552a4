"""Listens with pyzmq and msgpack alone; its argument is an address such as tcp://127.0.0.1:5556."""

import sys

import msgpack
import zmq

socket = zmq.Context().socket(zmq.SUB)
socket.subscribe("poses/")  # or "poses/door/" for one source
socket.connect(sys.argv[1])
while True:
    topic, body = socket.recv_multipart()
    message = msgpack.unpackb(body)
    print(topic.decode(), message["n"], [person["bbox"] for person in message.get("people", ())])  # noqa: T201
