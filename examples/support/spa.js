// The whole client of a login: no library, no build step, and no token. The tokens are in cookies that no script
// can read. The browser sends them automatically.
"use strict";

// With `?locks=off` the tabs do not wait for each other, as in browsers without Web Locks. That works too: within
// the grace period the server answers all of them with the same refresh token. Locks only save requests.
const locks = new URLSearchParams(location.search).get("locks") === "off" ? undefined : navigator.locks;
const tabs = new BroadcastChannel("login");
let refreshing;

// Calls the API. If the access token has expired, it refreshes once and calls again.
async function call(path, options) {
  const response = await fetch(path, options);
  if (response.status !== 401) return response;
  refreshing ??= refreshInTurn().finally(() => (refreshing = undefined)); // one at a time in this tab
  return (await refreshing) ? fetch(path, options) : response;
}

async function refreshInTurn() {
  const before = localStorage.getItem("refreshed");
  if (!locks) return refresh();
  // Another tab may have refreshed while this one waited.
  return locks.request("refresh", () => localStorage.getItem("refreshed") !== before || refresh());
}

async function refresh() {
  const response = await fetch("refresh", { method: "POST" });
  if (response.ok) {
    localStorage.setItem("refreshed", crypto.randomUUID());
    count("refreshes");
  } else if (response.status < 500) {
    show("out", "You are signed out."); // the login has ended; 503 would only mean to try again later
  }
  return response.ok;
}

// The page repeatedly requests the name of the user.
async function load() {
  try {
    const response = await call("me");
    if (response.ok) {
      count("calls");
      show("in", "Hello " + (await response.text()).trim() + ".");
    } else if (response.status >= 500) {
      show("later", "The server has a problem. Your login is safe; this page tries again.");
    }
  } catch {
    show("later", "The server does not answer. This page tries again.");
  }
}

function show(state, text) {
  document.body.dataset.state = state;
  document.getElementById("says").textContent = text;
  document.getElementById("sign-in").hidden = state !== "out";
  document.getElementById("signed-in").hidden = state !== "in";
}

function count(what) {
  document.body.dataset[what] = Number(document.body.dataset[what] ?? 0) + 1;
}

document.getElementById("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const response = await fetch("sign-in", { method: "POST", body: new URLSearchParams(new FormData(event.target)) });
  event.target.password.value = "";
  if (!response.ok) return show("out", response.status === 403 ? "Wrong name or password." : "Try again later.");
  tabs.postMessage("changed");
  await load();
});

for (const path of ["sign-out", "sign-out-everywhere"]) {
  document.getElementById(path).addEventListener("click", async () => {
    const response = await call(path, { method: "POST" });
    if (!response.ok) return;
    tabs.postMessage("changed");
    show("out", "You are signed out.");
  });
}

tabs.onmessage = load; // a sign-in or sign-out in another tab
load();
setInterval(() => document.body.dataset.state !== "out" && load(), 250);
