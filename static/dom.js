// Small helpers for the page.

export const $ = (id) => document.getElementById(id);

export function clock(date) {
  return date.toLocaleTimeString("en-GB"); // 24 hours, with seconds
}

// announce is for screen readers. The same words twice are said once.
export function announce(text) {
  if ($("announce").textContent !== text) $("announce").textContent = text;
}

// showCommand fills an element with a command line and a button that copies it.
export function showCommand(element, line) {
  const pre = document.createElement("pre");
  pre.append(...line.match(/\S+ ?/g).map(word)); // with the spaces, which are copied too
  pre.tabIndex = 0; // so that the keyboard can reach it to select and copy
  pre.setAttribute("role", "region");
  pre.setAttribute("aria-label", `Command: ${element.dataset.label}`);

  const copy = document.createElement("button");
  copy.type = "button";
  copy.textContent = "Copy";
  copy.setAttribute("aria-label", `Copy: ${element.dataset.label}`);
  copy.hidden = !navigator.clipboard; // only there on https: and on this computer
  copy.onclick = async () => {
    try {
      await navigator.clipboard.writeText(line);
      copy.textContent = "Copied";
      announce("Copied.");
    } catch {
      copy.textContent = "Select it and copy";
      announce("The browser did not allow it. Select the line and copy it.");
    }
  };
  element.replaceChildren(pre, copy);
}

// A word of a command does not break, unless it is longer than the line.
function word(text) {
  const span = document.createElement("span");
  span.textContent = text;
  return span;
}

// curl returns the handshake as the browser sends it, as far as the server looks
// at it. The key is the example from RFC 6455; any 16 bytes in base64 will do. Double
// quotes are understood by Windows' cmd, too.
export function curl(url) {
  const address = new URL(url);
  address.protocol = location.protocol;
  return [
    "curl -i --http1.1 --max-time 5",
    '-H "Connection: Upgrade" -H "Upgrade: websocket"',
    '-H "Sec-WebSocket-Version: 13" -H "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="',
    `-H "Origin: ${location.origin}"`,
    address.href,
  ].join(" ");
}
