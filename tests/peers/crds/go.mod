// The custom resources of the Prometheus operator: their definitions are files of its module.
module crds

go 1.26

require github.com/prometheus-operator/prometheus-operator v0.86.1
