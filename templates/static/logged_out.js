// Goes on when every frame of the page has told its application of the sign-out, or after a bounded time. Plain ES5. In
// the head, because a frame may have loaded before a deferred script runs.
(function () {
  "use strict";
  var LONGEST = 5000;
  var loaded = [], parsed = false, gone = false;

  function leave() {
    if (gone) return;
    gone = true;
    window.location.replace(document.getElementById("continue").href);
  }

  function check() {
    if (parsed && loaded.length === document.getElementsByTagName("iframe").length) leave();
  }

  // Events of frames do not bubble, so they are captured.
  document.addEventListener("load", function (event) {
    if (event.target.tagName !== "IFRAME" || loaded.indexOf(event.target) >= 0) return;
    loaded.push(event.target);
    check();
  }, true);
  document.addEventListener("DOMContentLoaded", function () {
    parsed = true;
    check();
    window.setTimeout(leave, LONGEST);
  });
})();
