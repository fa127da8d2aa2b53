// A waiting sign-in tab continues after a sign-in in another tab. Without this script, a reload does the same.
(() => {
  "use strict";
  document.addEventListener("visibilitychange", async () => {
    if (document.visibilityState !== "visible") return;
    // The server answers with a redirect once there is a session that began after this sign-in.
    const options = { method: "HEAD", redirect: "manual", cache: "no-store" };
    const answer = await fetch(location.href, options).catch(() => null);
    if (answer?.type === "opaqueredirect") location.replace(location.href);
  });
})();
