"""The families of made-up inputs."""

from fuzz.families import flags, json_files, published, seals, sfts, task_data, texts, tokenizers

FAMILIES = {
    family.name: family
    for family in (
        texts.FAMILY,
        task_data.FAMILY,
        sfts.FAMILY,
        published.FAMILY,
        json_files.FAMILY,
        seals.FAMILY,
        tokenizers.FAMILY,
        flags.FAMILY,
    )
}
