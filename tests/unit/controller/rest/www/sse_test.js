import { EventReader } from "/ui/sse.js";
import { equal } from "./check.js";

const STREAM =
  "event: start\ndata: {}\n\n:\n\nevent: rows\r\nid: a-1\r\ndata: 1\r\ndata:2\r\n\r\ndata: x\r\rid: b\n\nretry: 5\ndata\n\nunknown: y\nid: c-3\ndata: last\n\n";
const EVENTS = [
  { type: "start", data: "{}", id: null },
  { type: "rows", data: "1\n2", id: "a-1" },
  { type: "message", data: "x", id: null },
  { type: "message", data: "", id: null },
  { type: "message", data: "last", id: "c-3" },
];

function read(pieces) {
  const reader = new EventReader();
  return pieces.flatMap((piece) => reader.push(piece));
}

export const tests = {
  whole: () => equal(read([STREAM]), EVENTS),
  "byte by byte": () => equal(read([...STREAM]), EVENTS),
  "cut anywhere": () => {
    for (let at = 0; at <= STREAM.length; at += 1) equal(read([STREAM.slice(0, at), "", STREAM.slice(at)]), EVENTS);
  },
  "a byte order mark is not of the first name": () => equal(read(["\uFEFFdata: 1\n\n", "\uFEFFdata: 2\n\n"]), [EVENTS[2]].map(() => ({ type: "message", data: "1", id: null }))),
  "what has no end is no event": () => equal(read(["data: 1\n", "data: 2"]), []),
  "an id of an event without data is forgotten": () => equal(read(["id: 1\n\ndata: a\n\n"]), [{ type: "message", data: "a", id: null }]),
  "only one space belongs to the grammar": () => equal(read(["data:  a \n\n"]), [{ type: "message", data: " a ", id: null }]),
};
