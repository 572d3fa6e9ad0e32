// Two additions to pages that work without scripts.

// Every two seconds, the list (#live) is replaced by the one of a fresh copy of the page.
const live = document.querySelector("button.live");
if (live) {
  let paused = false;
  live.hidden = false;
  live.addEventListener("click", () => {
    paused = !paused;
    live.classList.toggle("paused", paused);
    live.textContent = paused ? "Paused" : "Live";
  });
  const refresh = async () => {
    const selecting = String(getSelection()) !== "";
    if (!paused && !document.hidden && !selecting) {
      try {
        const response = await fetch(location.href);
        const fresh = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("#live");
        if (response.ok && fresh) document.querySelector("#live").replaceWith(document.adoptNode(fresh));
        live.classList.remove("offline");
      } catch {
        live.classList.add("offline");
      }
    }
    setTimeout(refresh, 2000);
  };
  setTimeout(refresh, 2000);
}

// A link to a span opens its details.
const reveal = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView({ block: "center" });
  }
};
addEventListener("hashchange", reveal);
reveal();
