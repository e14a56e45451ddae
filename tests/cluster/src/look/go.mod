module look

go 1.24
