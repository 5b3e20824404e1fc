-- How many configurations hold every word? The condition is that of `page_of_configurations.sql`.
SELECT count(*)
FROM configuration AS named
    JOIN model ON model.id = named.model_id
    JOIN device ON device.id = named.device_id
    JOIN series_summary ON series_summary.configuration_id = named.id
WHERE series_summary.run_count > 0 AND NOT EXISTS (
    SELECT 1 FROM json_each(:words) AS word
    WHERE instr(lower(model.name || ' ' || named.variant || ' ' || named.mode || ' ' || device.name || ' ' ||
        named.platform || ' ' || named.engine || ' ' || named.precision || ' ' || 'batch=' ||
        named.batch_size || ' ' || named.input_shape || ' ' || 'threads=' || named.threads || ' ' ||
        named.parameters), word.value) = 0)
