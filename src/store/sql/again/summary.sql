SELECT 'runs' AS what, count(*) AS value FROM selected
UNION ALL SELECT 'runs whose numbers count', count(*) FROM selected WHERE validity = 'valid'
UNION ALL SELECT 'configurations', count(DISTINCT configuration_id) FROM selected
UNION ALL SELECT 'models', count(DISTINCT model) FROM selected
UNION ALL SELECT 'devices', count(DISTINCT device) FROM selected
UNION ALL SELECT 'engines', count(DISTINCT engine) FROM selected
UNION ALL SELECT 'hosts', count(DISTINCT host) FROM selected
UNION ALL SELECT 'campaigns', count(DISTINCT campaign_uuid) FROM selected
UNION ALL SELECT 'first run', min(started_at) FROM selected
UNION ALL SELECT 'last run', max(started_at) FROM selected
