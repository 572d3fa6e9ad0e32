// Two comforts on top of pages that work without them.

// The list follows what arrives: every two seconds #live is taken from a fresh copy of the page.
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
        const answer = await fetch(location.href);
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("#live");
        if (answer.ok && fresh) document.querySelector("#live").replaceWith(document.adoptNode(fresh));
        live.classList.remove("lost");
      } catch {
        live.classList.add("lost");
      }
    }
    setTimeout(refresh, 2000);
  };
  setTimeout(refresh, 2000);
}

// A link to a span opens it.
const reveal = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView({ block: "center" });
  }
};
addEventListener("hashchange", reveal);
reveal();
