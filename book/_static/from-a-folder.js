// A page that was opened from a folder may not read other pages, so the search shows titles only.
// Without this it would try, and fill the console with errors.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}
