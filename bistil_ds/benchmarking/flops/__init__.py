"""Operations of models, counted on shapes without weights."""
