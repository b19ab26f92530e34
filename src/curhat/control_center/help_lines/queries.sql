-- name: list_versions :many
-- Read the newest versions of the help lines with the operators' e-mails, newest first, at most @max_versions. The
-- current version is always among them. If @only_version is not null, only this version.
-- row: VersionRow
-- nullable: proposed_by, proposed_by_email, published_by, published_by_email, published_at, @only_version
SELECT versions.version, versions.items, versions.proposed_by, proposers.email AS proposed_by_email,
    versions.proposed_at, versions.published_by, publishers.email AS published_by_email, versions.published_at
FROM help_line_versions AS versions
LEFT JOIN operators AS proposers ON proposers.id = versions.proposed_by
LEFT JOIN operators AS publishers ON publishers.id = versions.published_by
WHERE (@only_version::integer IS NULL OR versions.version = @only_version)
    AND (
        versions.version > (SELECT coalesce(max(version), 0) FROM help_line_versions) - @max_versions
        OR versions.version = (SELECT max(version) FROM help_line_versions WHERE published_at IS NOT NULL)
        OR versions.version = @only_version
    )
ORDER BY versions.version DESC
