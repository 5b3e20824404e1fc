SELECT device, device_kind AS kind, platform, engine, software, count(*) AS runs, sum(validity = 'valid') AS valid,
    count(DISTINCT model) AS models
FROM selected
GROUP BY device, compute_units, device_kind, platform, engine
ORDER BY runs DESC, device, platform, engine
