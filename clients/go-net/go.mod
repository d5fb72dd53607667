module go-net

go 1.26.0
