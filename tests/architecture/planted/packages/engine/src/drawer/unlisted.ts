// Planted: a folder without a row in the table.
export const unlisted = 1
