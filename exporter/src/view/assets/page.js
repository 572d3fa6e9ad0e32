// An addition to a page that works without scripts.

// === the live list ===

// Every two seconds, the list (#live) is brought up to date with a fresh copy of the page. Elements stay the same
// objects as far as possible, so that the keyboard focus, selected text and the scroll position stay, too.

const INTERVAL = 2000;
const TIMEOUT = 5000;

const live = document.querySelector("button.live");
if (live) {
  let paused = false;
  // The last answer, and whether a later request had none.
  let answered = new Date();
  let silent = false;
  const show = () => {
    live.classList.toggle("paused", paused);
    live.classList.toggle("offline", silent && !paused);
    const text = paused ? "Paused" : silent ? `No answer since ${answered.toLocaleTimeString("en-GB")}` : "Live";
    if (live.textContent !== text) live.textContent = text;
  };
  const refresh = async () => {
    if (!paused && !document.hidden) {
      const abort = new AbortController();
      const timer = setTimeout(() => abort.abort(), TIMEOUT);
      try {
        const response = await fetch(location.href, { signal: abort.signal });
        const text = await response.text();
        const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("#live");
        if (!response.ok || !fresh) throw new Error(response.statusText);
        if (!paused) update(document.querySelector("#live"), fresh);
        answered = new Date();
        silent = false;
      } catch {
        silent = true;
      }
      clearTimeout(timer);
      show();
    }
    setTimeout(refresh, INTERVAL);
  };
  live.hidden = false;
  live.addEventListener("click", () => {
    paused = !paused;
    show();
  });
  setTimeout(refresh, INTERVAL);
}

/** Updates the list, and keeps in place what the user looks at. */
function update(list, fresh) {
  const focused = document.activeElement;
  const top = document.querySelector(".top")?.offsetHeight ?? 0;
  const rows = scrollY > 0 ? [...list.querySelectorAll("[id]")] : [];
  const anchor = rows.find((row) => row.getBoundingClientRect().bottom > top);
  const before = anchor?.getBoundingClientRect().top;
  morph(list, fresh, getSelection());
  if (anchor?.isConnected) scrollBy(0, anchor.getBoundingClientRect().top - before);
  if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
}

/** Makes an element equal to a fresh one. Selected text stays as it is. */
function morph(old, fresh, selection) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !isOfUser(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !isOfUser(old, name)) old.setAttribute(name, value);
  }
  const wanted = new Set([...fresh.children].map((child) => child.id).filter(Boolean));
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let next = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    // Rows that are gone make way, so that those after them need not move.
    while (next?.id && next.id !== child.id && !wanted.has(next.id)) next = remove(next);
    let match = child.id ? known.get(child.id) : next && !next.id ? next : null;
    if (match && match.nodeName !== child.nodeName) match = null;
    if (!match) {
      old.insertBefore(document.importNode(child, true), next);
      continue;
    }
    if (match === next) next = next.nextSibling;
    else old.insertBefore(match, next);
    if (match instanceof Element) morph(match, child, selection);
    else if (match.data !== child.data && !isSelected(match, selection)) match.data = child.data;
  }
  while (next) next = remove(next);
}

/** Removes a node, and returns the one after it. */
function remove(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

/** The user opens and closes details. */
function isOfUser(element, attribute) {
  return element instanceof HTMLDetailsElement && attribute === "open";
}

function isSelected(node, selection) {
  return selection && !selection.isCollapsed && selection.containsNode(node, true);
}
