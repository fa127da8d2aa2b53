// Answers applications that frame this page whether the session changed (OpenID Connect Session Management 1.0,
// section 3.2). Plain ES5 with its own SHA-256, for browsers without crypto.subtle, as at http://localhost of old ones.
(function () {
  "use strict";
  var NAME = document.getElementById("check-session").getAttribute("data-cookie");
  // client_id, a space, session_state: a hash of 43 characters, a dot, and the salt.
  var MESSAGE = /^([\x21-\x7e]{1,2048}) ([A-Za-z0-9_-]{43}\.([A-Za-z0-9_-]{1,64}))$/;
  var DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

  function fraction(root) {
    return ((root - Math.floor(root)) * 4294967296) | 0;
  }

  // The constants of FIPS 180-4 sections 4.2.2 and 5.3.3: fractions of the roots of the first primes.
  var START = [], ROUNDS = [];
  for (var number = 2; ROUNDS.length < 64; number++) {
    var prime = true;
    for (var divisor = 2; divisor * divisor <= number; divisor++) if (number % divisor === 0) prime = false;
    if (!prime) continue;
    if (START.length < 8) START.push(fraction(Math.pow(number, 1 / 2)));
    ROUNDS.push(fraction(Math.pow(number, 1 / 3)));
  }

  function rotated(word, bits) {
    return (word >>> bits) | (word << (32 - bits));
  }

  // Returns the SHA-256 of ASCII text in base64url, without padding.
  function sha256(text) {
    var words = [], state = START.slice(), schedule = [], at, round;
    for (at = 0; at < text.length; at++) words[at >> 2] |= text.charCodeAt(at) << (24 - (at % 4) * 8);
    words[text.length >> 2] |= 0x80 << (24 - (text.length % 4) * 8);
    var length = (((text.length + 8) >> 6) + 1) * 16;
    words[length - 1] = text.length * 8;
    for (at = 0; at < length; at += 16) {
      var previous = state.slice();
      for (round = 0; round < 64; round++) {
        if (round < 16) {
          schedule[round] = words[at + round] | 0;
        } else {
          var early = schedule[round - 15], late = schedule[round - 2];
          schedule[round] = (schedule[round - 16] + schedule[round - 7] +
            (rotated(early, 7) ^ rotated(early, 18) ^ (early >>> 3)) +
            (rotated(late, 17) ^ rotated(late, 19) ^ (late >>> 10))) | 0;
        }
        var e = state[4], a = state[0];
        var first = (state[7] + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) +
          ((e & state[5]) ^ (~e & state[6])) + ROUNDS[round] + schedule[round]) | 0;
        var second = ((rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) +
          ((a & state[1]) ^ (a & state[2]) ^ (state[1] & state[2]))) | 0;
        state.pop();
        state.unshift((first + second) | 0);
        state[4] = (state[4] + first) | 0;
      }
      for (round = 0; round < 8; round++) state[round] = (state[round] + previous[round]) | 0;
    }
    return encoded(state);
  }

  function encoded(words) {
    var text = "";
    for (var bit = 0; bit < 256; bit += 6) {
      var word = words[bit >> 5] >>> 0, offset = bit % 32;
      var next = bit >> 5 < 7 ? words[(bit >> 5) + 1] >>> 0 : 0;
      var six = offset <= 26 ? word >>> (26 - offset) : (word << (offset - 26)) | (next >>> (58 - offset));
      text += DIGITS.charAt(six & 63);
    }
    return text;
  }

  function browserState() {
    var pairs = document.cookie.split("; ");
    for (var at = 0; at < pairs.length; at++) {
      if (pairs[at].indexOf(NAME + "=") === 0) return pairs[at].slice(NAME.length + 1);
    }
    return "";
  }

  function result(message, origin) {
    var found = typeof message === "string" ? MESSAGE.exec(message) : null;
    if (!found) return "error";
    if (!browserState()) return "changed";
    var expected = sha256(found[1] + " " + origin + " " + browserState() + " " + found[3]) + "." + found[3];
    return found[2] === expected ? "unchanged" : "changed";
  }

  // The page that frames this one, or another frame of the same origin.
  function isParent(event) {
    if (event.source === window.parent) return true;
    var above = window.location.ancestorOrigins;
    if (above) return above[0] === event.origin;
    return document.referrer.indexOf(event.origin + "/") === 0;
  }

  // Calls back with whether this frame has the cookies of this server. Browsers that block them say so.
  function whenKnown(callback) {
    if (!document.hasStorageAccess) return callback(true);
    document.hasStorageAccess().then(callback, function () { callback(false); });
  }

  window.addEventListener("message", function (event) {
    // A page with an opaque origin has the origin "null", to which nothing can be sent.
    if (!event.source || !/^https?:/.test(event.origin) || !isParent(event)) return;
    whenKnown(function (hasCookies) {
      event.source.postMessage(hasCookies ? result(event.data, event.origin) : "error", event.origin);
    });
  }, false);
})();
