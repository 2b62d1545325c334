// Before the first paint, so that a chosen theme does not flash in the other one.
(function () {
  var theme = null;
  try {
    theme = localStorage.getItem("holdfast-theme");
  } catch (error) {
    // Storage may be off for this page; then it follows the system.
    console.info("the theme is not remembered:", error);
  }
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
})();
