// Long work in short pieces, so that the page answers all the while.

/** Gives the browser a turn. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      resolve();
    };
    channel.port2.postMessage(null);
  });
}

/** Runs the steps one after the other, with a turn for the browser every few milliseconds. */
export async function inTurns(count: number, step: (i: number) => void, go = () => true): Promise<boolean> {
  let began = performance.now();
  for (let i = 0; i < count; i++) {
    if (!go()) return false;
    step(i);
    if (performance.now() - began > 12) {
      await turn();
      began = performance.now();
    }
  }
  return go();
}
