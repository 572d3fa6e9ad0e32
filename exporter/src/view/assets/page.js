// Additions to pages that work without scripts.

// === links ===

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
