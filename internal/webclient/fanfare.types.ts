// What an application writes, for the compiler to judge: tsc must take all of it and refuse what is marked. It never runs.
import { connect, FanfareError, type Gap, type Message, type Position } from "./fanfare.js";

interface Chat {
  text: string;
}

const client = connect(new URL("wss://gateway.test/ws"), {
  token: async () => "t",
  storage: sessionStorage,
  shared: true,
  backoff: { cap: 5000 },
});
const stop: () => void = client.on("state", ({ state, delay }) => state === "waiting" && delay! > 0);
client.on("error", (error) => error.retryAfter);

const room = client.room<Chat>("lobby");
room.on("message", ({ data }) => data.text.length);
room.on("presence", ({ joined, left }) => [...joined, ...left]);
room.on("gap", ({ from, to, reason }) => reason === "slow_consumer" && to - from);

export async function talk(since: Position): Promise<number> {
  const { members } = await room.join({ since, presence: true });
  try {
    const { seq } = await room.publish({ text: "hello" }, { event: "chat", id: "1", timeout: 1000 });
    const { messages, first } = await room.history({ after: seq, limit: 10 });
    return first + members + messages[0]!.data.text.length;
  } catch (error) {
    if (error instanceof FanfareError && error.code === "timeout") return 0;
    throw error;
  }
}

export async function read(): Promise<void> {
  const events = room.events({ buffer: 10 });
  await room.join();
  for await (const event of events) {
    if (event.type === "message") {
      const message: Message<Chat> = event;
      message.data.text;
    } else if (event.type === "gap") {
      const gap: Gap = event;
      gap.to;
    } else {
      event.previous.seq;
    }
  }
}

// @ts-expect-error a room of chats takes no number
room.publish(1);
// @ts-expect-error there is no such event
room.on("massage", () => {});
// @ts-expect-error rooms come from a client
new (await import("./fanfare.js")).Room();
// @ts-expect-error there is no such transport
connect("/ws", { transport: "pigeon" });
stop();
