-- For people's own reports: every finding once, with what people made of it. docs/history.md says what the columns are.
CREATE OR REPLACE VIEW ${database}.v_findings AS
SELECT
    f.tenant AS tenant,
    f.time AS time,
    lower(hex(f.id)) AS finding,
    f.detection AS detection,
    f.severity AS severity,
    f.disposition AS disposition,
    f.technique AS technique,
    f.user_id AS user_id,
    f.user_name AS user_name,
    f.session_id AS session,
    f.app_id AS app,
    if(f.ip = toIPv6('::'), '', replaceRegexpOne(toString(f.ip), '^::ffff:([0-9.]+)$', '\\1')) AS ip,
    f.prefix AS network,
    f.country AS country,
    f.region AS region,
    f.city AS city,
    f.lat AS latitude,
    f.lon AS longitude,
    f.policy AS policy,
    f.action AS action,
    f.observed = 1 AS observed_only,
    f.requirement AS requirement,
    lower(hex(f.event_id)) AS event,
    if(m.verdict = '', 'open', m.verdict) AS triage,
    m.assignee AS assignee,
    m.set_by AS triaged_by
FROM (SELECT * FROM ${database}.findings FINAL) AS f
LEFT JOIN (
    SELECT tenant, finding, argMax(verdict, (time, id)) AS verdict, argMax(assignee, (time, id)) AS assignee, argMax(set_by, (time, id)) AS set_by
    FROM ${database}.marks
    GROUP BY tenant, finding
) AS m ON f.tenant = m.tenant AND f.id = m.finding
