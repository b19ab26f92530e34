/**
 * Runs before the app, in every browser. If the browser is too old or a file of the app is missing, boot.js tells the
 * person.
 *
 * This file is a classic script in ECMAScript 5, so that an old browser can read it. ESLint checks the syntax. The name
 * boot.js has no hash, so a page of an old version still finds the file. When the app runs, #app is no longer empty,
 * and shared/assets.ts handles missing files. If the app starts after boot.js has shown a failure, the app replaces the
 * content of #app.
 */
(function () {
    'use strict';
    /** RELOADED_KEY and MIN_RELOAD_PAUSE_MS must have the same values in assets.ts. */
    var RELOADED_KEY = 'curhat:reloaded';
    var MIN_RELOAD_PAUSE_MS = 60000;
    var ASSETS = document.currentScript.src.replace('boot.js', 'assets/');
    var place = document.getElementById('app');
    var isChecking = false;

    /** Shows the sentences in both languages, because the language of the person is not known yet. */
    function show(sentences) {
        var box = document.createElement('main');
        box.setAttribute('role', 'alert');
        box.style.cssText = 'max-width:28rem;margin:20vh auto 0;padding:1.5rem;font:1rem/1.5 sans-serif';
        for (var language in sentences) {
            var paragraph = document.createElement('p');
            paragraph.lang = language;
            paragraph.textContent = sentences[language];
            box.appendChild(paragraph);
        }
        return place.appendChild(box);
    }

    /**
     * Each supported browser (.browserslistrc) has all functions below, and each older browser lacks at least one
     * function (boot.test.ts).
     */
    function isTooOld() {
        return !(
            window.CSS &&
            CSS.supports &&
            CSS.supports('inset', '0px') &&
            window.BigInt64Array &&
            Intl.DateTimeFormat.prototype.formatRange
        );
    }

    function isAppEmpty() {
        return place.childNodes.length === 0;
    }

    /**
     * Returns whether one of our own files caused the error. Browsers inside other apps add scripts of their own to the
     * page.
     */
    function isOurs(event) {
        var file = event.target.src || event.target.href || event.filename || (event.reason || '').stack;
        return String(file).indexOf(ASSETS) >= 0;
    }

    /** Reloads the page once. A page of the new version knows the new names of its files. */
    function reloadOnce() {
        try {
            var reloadedAt = Number(sessionStorage.getItem(RELOADED_KEY));
            if (Date.now() - reloadedAt < MIN_RELOAD_PAUSE_MS) return false;
            sessionStorage.setItem(RELOADED_KEY, String(Date.now()));
        } catch (error) {
            return false;
        }
        location.reload();
        return true;
    }

    function offerReload() {
        if (!isAppEmpty()) return;
        var button = document.createElement('button');
        button.textContent = 'Muat ulang';
        button.style.cssText = 'min-height:3rem;padding:0 1.5rem;font:inherit';
        button.onclick = function () {
            location.reload();
        };
        show({
            id: 'Aplikasi ini belum termuat. Muat ulang halaman ini.',
            en: 'This app has not loaded. Reload this page.',
        }).appendChild(button);
    }

    /** Either a file of the app is missing, or the app has an error before its first screen. */
    function handleFailure(event) {
        if (isChecking || !isAppEmpty() || !isOurs(event)) return;
        isChecking = true;
        var request = new XMLHttpRequest();
        request.open('HEAD', location.href);
        request.onload = function () {
            if (request.status >= 500 || !reloadOnce()) offerReload();
        };
        request.onerror = offerReload;
        request.send();
    }

    if (isTooOld()) {
        // Without the element #app, the app does not start.
        place.removeAttribute('id');
        show({
            id: 'Peramban ini terlalu lama untuk aplikasi ini. Perbarui peramban atau sistem HP ini, lalu buka lagi.',
            en: 'This browser is too old for this app. Update the browser or the system of this phone, then open it again.',
        });
    } else {
        window.addEventListener('error', handleFailure, true);
        window.addEventListener('unhandledrejection', handleFailure);
    }
})();
