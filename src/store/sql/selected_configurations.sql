-- Which configurations a selection means; joined are configuration, model and device.
    AND (:models IS NULL OR model.name IN (SELECT value FROM json_each(:models)))
    AND (:variant IS NULL OR configuration.variant = :variant)
    AND (:platforms IS NULL OR configuration.platform IN (SELECT value FROM json_each(:platforms)))
    AND (:device IS NULL OR instr(lower(device.name), lower(:device)) > 0)
    AND (:engines IS NULL OR configuration.engine IN (SELECT value FROM json_each(:engines)))
    AND (:precisions IS NULL OR configuration.precision IN (SELECT value FROM json_each(:precisions)))
    AND (:modes IS NULL OR configuration.mode IN (SELECT value FROM json_each(:modes)))
    AND (:batch_sizes IS NULL OR configuration.batch_size IN (SELECT value FROM json_each(:batch_sizes)))
    AND (:parameters IS NULL OR NOT EXISTS (
        SELECT 1 FROM json_each(:parameters) AS wanted
        WHERE (configuration.parameters ->> ('$."' || wanted.key || '"')) IS NOT wanted.value))
    AND (:configurations IS NULL OR configuration.id IN (SELECT value FROM json_each(:configurations)))
