-- Fills by_prefix from every insert into events.
CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.by_prefix_fill TO ${database}.by_prefix AS
SELECT
    tenant,
    prefix,
    toDate(time, 'UTC') AS day,
    user_id,
    ip,
    max(e.asn) AS asn,
    max(e.org) AS org,
    max(e.classes) AS classes,
    max(e.country) AS country,
    groupUniqArrayIf(app_id, app_id != '') AS apps,
    min(time) AS first,
    max(time) AS last,
    max(toStartOfDay(e.logged, 'UTC')) AS logged,
    uniqState(id) AS events,
    uniqIfState(id, outcome IN ('failure', 'blocked')) AS failures
FROM ${database}.events AS e
WHERE prefix != '' AND kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, prefix, day, user_id, ip
