/**
 * Measures pages with Lighthouse's mobile settings: slow 4G, and a processor a quarter as fast.
 *
 * Standard input has the pages, each with its cookies and its localStorage. Standard output has one line of JSON per
 * page with its figures. A page that misses the limit is measured again, and the fastest attempt counts, because other
 * processes on the machine can only make it slower.
 */
import { readFileSync } from 'node:fs';
import lighthouse from 'lighthouse';
import puppeteer from 'puppeteer-core';

const { executable, args, lcp_limit_ms, tries, pages } = JSON.parse(readFileSync(0, 'utf8'));
const FIGURES = {
  fcp_ms: 'first-contentful-paint',
  lcp_ms: 'largest-contentful-paint',
  tbt_ms: 'total-blocking-time',
  cls: 'cumulative-layout-shift',
};

for (const one of pages) {
  let best = await measure(one);
  for (let attempt = 1; attempt < tries && best.lcp_ms > lcp_limit_ms; attempt += 1) {
    const next = await measure(one);
    if (next.lcp_ms < best.lcp_ms) best = next;
  }
  console.log(JSON.stringify(best));
}

async function measure({ name, url, cookies, kept }) {
  const browser = await puppeteer.launch({ executablePath: executable, args });
  const page = await browser.newPage();
  await browser.setCookie(...cookies);
  await page.goto(new URL('/healthz', url).href);
  await page.evaluate((items) => Object.entries(items).forEach(([key, value]) => localStorage.setItem(key, value)), kept);
  const onlyCategories = ['performance', 'accessibility', 'best-practices'];
  const { lhr } = await lighthouse(url, { onlyCategories, disableStorageReset: true, logLevel: 'error' }, undefined, page);
  await browser.close();
  const scores = Object.fromEntries(
    Object.values(lhr.categories).map(({ id, score }) => [id.replace('-', '_'), Math.round(100 * score)]),
  );
  const figures = Object.fromEntries(
    Object.entries(FIGURES).map(([key, audit]) => [key, lhr.audits[audit].numericValue]),
  );
  const categories = Object.values(lhr.categories).filter(({ id }) => id !== 'performance');
  const failed = categories
    .flatMap(({ auditRefs }) => auditRefs)
    .filter(({ id, weight }) => weight > 0 && lhr.audits[id].score !== null && lhr.audits[id].score < 1)
    .map(({ id }) => id);
  return { name, ...scores, ...figures, failed };
}
