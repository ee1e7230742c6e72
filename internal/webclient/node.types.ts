// What a service in Node writes, without the library of the DOM: tsc must take it. It never runs.
import { connect, FanfareError, type Client, type History, type Joined, type Members, type Options, type Room, type State } from "./fanfare.js";

declare const WebSocket: NonNullable<Options["WebSocket"]>;

const client: Client = connect("wss://gateway.test/ws", { WebSocket, token: () => "t", connectTimeout: 1000, requestTimeout: 1000, random: () => 0.5 });
const room: Room<number> = client.join<number>("lobby", { last: 1, fill: false });
room.on("joined", (joined: Joined) => joined.recovered);
room.on("reset", ({ previous }) => previous.epoch);
room.on("error", (error: FanfareError) => error.code);
room.on("left", ({ room }) => room.length);

export async function serve(): Promise<State> {
  for await (const event of room) if (event.type === "message" && event.data > 1) break;
  const history: History<number> = await room.history();
  const members: Members = await room.members({ limit: 10, cursor: "c" });
  await client.request("auth", { token: await client.register(members.users[0]!.user) }, 1000);
  client.retry();
  client.suspend();
  room.leave();
  client.close();
  return history.first > 1 && client.welcome ? client.state : "closed";
}
