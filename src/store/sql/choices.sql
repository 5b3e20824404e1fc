-- What can be chosen from: every word once, by what it is a word for; of what keeps coming, the newest hundred.
SELECT 'model' AS what, name AS word FROM model WHERE EXISTS (
    SELECT 1 FROM configuration WHERE configuration.model_id = model.id)
UNION
SELECT 'device', name FROM device WHERE EXISTS (SELECT 1 FROM configuration WHERE configuration.device_id = device.id)
UNION
SELECT 'variant', variant FROM configuration WHERE variant <> ''
UNION
SELECT 'engine', engine FROM configuration
UNION
SELECT 'hardware', platform FROM configuration
UNION
SELECT 'precision', precision FROM configuration
UNION
SELECT 'mode', mode FROM configuration
UNION
SELECT 'batch-sizes', batch_size FROM configuration
UNION
SELECT 'baseline', name FROM baseline
UNION
SELECT * FROM (SELECT 'label', label FROM campaign WHERE label IS NOT NULL GROUP BY label ORDER BY max(id) DESC LIMIT 100)
UNION
SELECT * FROM (SELECT 'git-commit', git_commit FROM environment WHERE git_commit IS NOT NULL
    GROUP BY git_commit ORDER BY max(id) DESC LIMIT 100)
UNION
SELECT * FROM (SELECT 'framework', framework_version FROM environment WHERE framework_version IS NOT NULL
    GROUP BY framework_version ORDER BY max(id) DESC LIMIT 100)
UNION
SELECT * FROM (SELECT 'host', host FROM environment WHERE host IS NOT NULL GROUP BY host ORDER BY max(id) DESC LIMIT 100)
