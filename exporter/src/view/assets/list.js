// Additions to the lists, which work without scripts: ages, the overview and the form of the filter.

// === times ===

const listed = document.querySelector("#rows[data-now]");
if (listed) serverOffset = Number(listed.dataset.now) / 1e6 - Date.now();
document.querySelectorAll(".zone").forEach((tool) => { tool.hidden = false; });
enhance(document);

// Ages advance.
if (listed) {
  setInterval(() => {
    listed.querySelectorAll("time.age").forEach((time) => setText(time, ageText(time.dataset.since)));
  }, 1000);
}

// === the overview ===

// A drag over the overview sets the times and the durations of the filter.

const overview = document.querySelector(".overview svg");
if (overview) {
  const figure = overview.parentElement;
  let start = null;
  let box = null;
  const { from, to, shortest, longest, margin } = overview.dataset;
  const first = Date.parse(from);
  const range = Date.parse(to) - first;
  const share = (position, size, units) => {
    const edge = (margin / units) * size;
    return Math.min(1, Math.max(0, (position - edge) / (size - 2 * edge)));
  };
  overview.addEventListener("dragstart", (event) => event.preventDefault());
  overview.addEventListener("pointerdown", (event) => {
    start = { x: event.offsetX, y: event.offsetY };
  });
  overview.addEventListener("pointermove", (event) => {
    if (!start || !event.buttons) return;
    if (!box) {
      if (Math.abs(event.offsetX - start.x) < 4) return;
      box = figure.appendChild(document.createElement("div"));
      box.className = "selection";
      overview.setPointerCapture(event.pointerId);
    }
    Object.assign(box.style, {
      left: `${Math.min(start.x, event.offsetX)}px`,
      width: `${Math.abs(start.x - event.offsetX)}px`,
      top: `${Math.min(start.y, event.offsetY)}px`,
      height: `${Math.abs(start.y - event.offsetY)}px`,
    });
  });
  overview.addEventListener("pointerup", (event) => {
    const begin = start;
    start = null;
    if (!box) return;
    box.remove();
    box = null;
    const { width, height } = overview.getBoundingClientRect();
    const xs = [begin.x, event.offsetX].sort((a, b) => a - b).map((x) => share(x, width, 1000));
    const ys = [begin.y, event.offsetY].sort((a, b) => b - a).map((y) => 1 - share(y, height, 96));
    // Rounded outward, so that the edges are in the selection.
    const time = (part, round) => new Date(round(first + part * range)).toISOString();
    const log = Math.log(longest / shortest);
    const micros = (part, round) => `${round((shortest * Math.exp(part * log)) / 1e3)}us`;
    const form = document.querySelector(".filters");
    form.elements.from.value = time(xs[0], Math.floor);
    form.elements.to.value = time(xs[1], (millis) => Math.ceil(millis) + 1);
    // A flat selection is one of times.
    if (Math.abs(begin.y - event.offsetY) > 12) {
      form.elements.min_duration.value = micros(ys[0], Math.floor);
      form.elements.max_duration.value = micros(ys[1], (value) => Math.ceil(value) + 1);
    }
    form.requestSubmit();
  });
  overview.addEventListener("click", (event) => event.detail === 0 || (Math.abs(event.movementX) > 3 && event.preventDefault()));
}

// Empty fields are not sent, so that links stay short.
for (const form of document.querySelectorAll(".filters")) {
  form.addEventListener("submit", () => {
    for (const field of form.elements) if (!field.value) field.disabled = true;
  });
  addEventListener("pageshow", () => {
    for (const field of form.elements) field.disabled = false;
  });
}
