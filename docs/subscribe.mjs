// Listens from JavaScript: npm install zeromq @msgpack/msgpack; node docs/subscribe.mjs tcp://127.0.0.1:5556
import { decode } from "@msgpack/msgpack";
import { Subscriber } from "zeromq";

const socket = new Subscriber();
socket.subscribe("poses/"); // or "poses/door/" for one source
socket.connect(process.argv[2]);
for await (const [topic, body] of socket) {
  const message = decode(body);
  console.log(topic.toString(), message.n, (message.people ?? []).map((person) => person.bbox));
}
