// fanfare.js on npm's ws. Says on stdout, a line each, what its room hears; "publish TEXT" on stdin publishes;
// the end of stdin closes.
import { createInterface } from "node:readline";
import { WebSocket } from "ws";

import { connect } from "../../webclient/fanfare.js";

const client = connect(process.argv[2], { WebSocket, backoff: { cap: 500 } });
let waited = false;
client.on("state", ({ state }) => {
  if (state === "waiting" && !waited) {
    waited = true;
    console.log("waiting");
  } else if (state === "closed") {
    console.log("closed");
  }
});

const room = client.join("foreign");
room.on("message", ({ data }) => console.log(`message ${data.text}`));
room.on("reset", () => console.log("reset"));
room.on("gap", (gap) => console.log(`gap ${JSON.stringify(gap)}`));

const off = room.on("joined", () => {
  off();
  room.publish({ text: "first" });
});
const commands = createInterface({ input: process.stdin });
commands.on("line", (line) => room.publish({ text: line.replace("publish ", "") }));
commands.on("close", () => client.close());
