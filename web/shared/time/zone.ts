/**
 * Returns the query that names the viewer's time zone (IANA). A browser without a name for its zone sends no name, and
 * the server then uses its default.
 */
export function zoneQuery(): { zone?: string } {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone as string | undefined;
  return zone ? { zone } : {};
}
