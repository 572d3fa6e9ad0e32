// The values of a trace: copies of them, and times in the zone of the reader.

function enhance(part) {
  part.querySelectorAll("button.copy").forEach((button) => { button.hidden = false; });
  showTimes(part);
}

/** Returns the text of a value, with the characters that are shown as symbols. */
function valueText(element) {
  const copy = element.cloneNode(true);
  copy.querySelectorAll("summary").forEach((summary) => summary.remove());
  copy.querySelectorAll(".ctl").forEach((symbols) => {
    const code = (symbol) => (symbol === "\u2421" ? 0x7f : symbol.codePointAt(0) - 0x2400);
    symbols.textContent = symbols.textContent.replaceAll(/\\u\{([0-9a-f]+)\}|[\u2400-\u2421]/g, (symbol, hex) =>
      String.fromCodePoint(hex ? parseInt(hex, 16) : code(symbol)));
  });
  return copy.textContent;
}

async function copy(button) {
  const text = button.dataset.copy ?? valueText(button.closest(".value").querySelector(".text"));
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // The clipboard is for secure pages only: a page over HTTP of another machine selects the text.
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = done ? "Copied" : "Not copied";
  button.classList.add("done");
  setTimeout(() => {
    button.textContent = "Copy";
    button.classList.remove("done");
  }, 1500);
}

const ZONE = "logtracer.zone";

function zone() {
  try {
    return localStorage.getItem(ZONE) === "local" ? "local" : "utc";
  } catch {
    return "utc";
  }
}

/** Shows times in the zone that was chosen. The server has rendered UTC. */
function showTimes(part) {
  const isLocal = zone() === "local";
  part.querySelectorAll("time.at").forEach((time) => {
    const date = new Date(time.dateTime);
    if (!isLocal || Number.isNaN(date.getTime())) {
      time.textContent = time.dateTime;
      return;
    }
    const pad = (number) => String(number).padStart(2, "0");
    const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
    const clock = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
    const fraction = time.dateTime.match(/\.\d+/)?.[0] ?? "";
    const minutes = -date.getTimezoneOffset();
    const offset = `${minutes < 0 ? "-" : "+"}${pad(Math.trunc(Math.abs(minutes) / 60))}:${pad(Math.abs(minutes) % 60)}`;
    time.textContent = `${day}T${clock}${fraction}${offset}`;
  });
  document.querySelectorAll("[data-zone]").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.zone === zone()));
  });
}
