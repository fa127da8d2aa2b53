// A sign-in page goes on when the sign-in went on in another tab, or is over. Without this script, a reload does the same.
(() => {
  "use strict";
  const { waits } = document.currentScript.dataset;
  const FIRST = 4000, LONGEST = 60000;
  let pause = FIRST, timer;

  // The server answers with a redirect or an error if the page is of no more use. The question is not an activity.
  async function ask() {
    if (document.visibilityState !== "visible") return;
    const options = { method: "HEAD", redirect: "manual", cache: "no-store" };
    const answer = await fetch(location.href, options).catch(() => null);
    if (answer?.type === "opaqueredirect" || answer?.status === 400) location.replace(location.href);
  }

  // Only a page that waits for a mail asks again and again, less and less often.
  function wait() {
    clearTimeout(timer);
    if (waits === undefined || document.visibilityState !== "visible") return;
    timer = setTimeout(async () => {
      pause = Math.min(pause * 1.5, LONGEST);
      await ask();
      wait();
    }, pause);
  }

  document.addEventListener("visibilitychange", () => {
    pause = FIRST;
    ask();
    wait();
  });
  // Back: the browser shows the page as it was.
  addEventListener("pageshow", (event) => {
    if (event.persisted) ask();
  });
  wait();
})();
