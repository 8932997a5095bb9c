/** Asking again every few seconds, only while the page is seen. */

const LONGEST = 60;

/**
 * Do something now, and again some seconds after it has ended. While the page is hidden nothing is done; when it is
 * seen again, at once. After a failure the pause doubles, up to a minute.
 *
 * @param {function(AbortSignal): Promise<number|void>} work may return the seconds until the next time.
 * @param {number} seconds
 * @param {AbortSignal} signal ends it.
 * @param {function(Error): void} failed
 */
export function whileSeen(work, seconds, signal, failed) {
  let pause = seconds;
  const forever = async () => {
    while (!signal.aborted) {
      await seen(signal);
      if (signal.aborted) return;
      try {
        pause = (await work(signal)) ?? seconds;
      } catch (error) {
        if (signal.aborted) return;
        failed(error);
        pause = Math.min(LONGEST, pause * 2);
      }
      await passed(pause, signal);
    }
  };
  forever();
}

function seen(signal) {
  return new Promise((resolve) => {
    if (document.visibilityState === "visible") return resolve();
    const look = () => {
      if (document.visibilityState !== "visible" && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      signal.removeEventListener("abort", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look);
  });
}

function passed(seconds, signal) {
  return new Promise((resolve) => {
    const over = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", over);
      resolve();
    };
    const timer = setTimeout(over, seconds * 1000);
    signal.addEventListener("abort", over);
  });
}
