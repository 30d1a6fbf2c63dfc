# From a laptop with Docker, kind, kubectl and helm to a pipeline on Kubernetes: docs/kubernetes.md.

CLUSTER ?= gpu
CONTEXT ?= kind-$(CLUSTER)
NAMESPACE ?= gputel
RELEASE ?= gputel
IMAGE ?= gputel:$(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' gputel/__init__.py)
TIMEOUT ?= 10m
HELM_ARGS ?=
SOURCE ?=
PORT ?= 8080
ROLE ?=

.PHONY: quickstart-deploy quickstart-clean kind-up kind-down build-image load-image helm-deploy
.PHONY: scale logs port-forward token

HELM = helm --kube-context $(CONTEXT) --namespace $(NAMESPACE)
KUBECTL = kubectl --context $(CONTEXT) --namespace $(NAMESPACE)
PODS = app.kubernetes.io/instance=$(RELEASE)

# $(call need,docker kind): tell of every program that is missing, and where to get it, and stop.
GET_docker := https://docs.docker.com/get-docker
GET_kind := https://kind.sigs.k8s.io/docs/user/quick-start
GET_kubectl := https://kubernetes.io/docs/tasks/tools
GET_helm := https://helm.sh/docs/intro/install
need = @missing=; $(foreach tool,$(1),command -v $(tool) >/dev/null 2>&1 || \
	{ echo "$(tool) is needed and not on your PATH: $(GET_$(tool)) says how to get it"; missing=1; };) \
	[ -z "$$missing" ]
docker_runs = @docker info >/dev/null 2>&1 || \
	{ echo "docker is installed, but no engine answers: start Docker, then try again"; exit 1; }

quickstart-deploy:  ## Everything: a kind cluster, the image, the release; then say where it is.
	$(call need,docker kind kubectl helm)
	@$(MAKE) --no-print-directory kind-up
	@$(MAKE) --no-print-directory build-image
	@$(MAKE) --no-print-directory load-image
	@$(MAKE) --no-print-directory helm-deploy SOURCE=$(or $(SOURCE),sample)
	@echo
	@echo "It runs. In another terminal: make port-forward. Then:"
	@echo "  Swagger UI   http://localhost:$(PORT)/swagger"
	@echo "  GPUs         http://localhost:$(PORT)/api/v1/gpus   (with the token of: make token)"
	@echo "More streamers and collectors: make scale STREAMERS=4 COLLECTORS=4. Logs: make logs."
	@echo "All of it away again: make quickstart-clean."

quickstart-clean: kind-down  ## Delete the cluster with all that is in it.

kind-up:  ## Make the kind cluster, if it is missing.
	$(call need,docker kind)
	$(docker_runs)
	@kind get clusters 2>/dev/null | grep -qx '$(CLUSTER)' || kind create cluster --name $(CLUSTER) --wait 120s

kind-down:  ## Delete the kind cluster.
	$(call need,docker kind)
	kind delete cluster --name $(CLUSTER)

build-image:  ## Build the image.
	$(call need,docker)
	$(docker_runs)
	docker build --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null) -t $(IMAGE) .

load-image:  ## Bring the image into the kind cluster.
	$(call need,docker kind)
	kind load docker-image $(IMAGE) --name $(CLUSTER)

# A release keeps its source unless SOURCE names one. The image's id is an annotation of the pods, so that they restart when it is another one.
helm-deploy:  ## Install or upgrade the release, and wait until it is ready.
	$(call need,helm kubectl)
	@image='$(IMAGE)'; build=$$(docker image inspect --format '{{.Id}}' "$$image" 2>/dev/null || echo unknown); set -x; \
	$(HELM) upgrade --install $(RELEASE) charts/gputel --create-namespace --reset-then-reuse-values \
		--set-string image.repository="$${image%:*}" \
		--set-string image.tag="$${image##*:}" \
		--set-string podAnnotations.build="$$build" $(if $(SOURCE),--set streamer.source.type=$(SOURCE)) \
		--wait --timeout $(TIMEOUT) $(HELM_ARGS)

scale:  ## Change how many there are: STREAMERS=4 COLLECTORS=4 BROKERS=1 APIS=2, any of them.
	$(call need,helm)
	@[ -n "$(SCALES)" ] || { echo "say how many: make scale STREAMERS=4 COLLECTORS=4 BROKERS=1 APIS=2"; exit 1; }
	$(HELM) upgrade $(RELEASE) charts/gputel --reset-then-reuse-values $(SCALES) --wait --timeout $(TIMEOUT)

SCALES = $(strip $(if $(STREAMERS),--set streamer.replicaCount=$(STREAMERS)) \
	$(if $(COLLECTORS),--set collector.replicaCount=$(COLLECTORS)) \
	$(if $(BROKERS),--set mqBroker.replicaCount=$(BROKERS)) \
	$(if $(APIS),--set api.replicaCount=$(APIS)))

logs:  ## Follow the logs of all pods, or of one role: ROLE=streamer.
	$(call need,kubectl)
	$(KUBECTL) logs --selector $(PODS)$(if $(ROLE),$(COMMA)app.kubernetes.io/component=$(ROLE)) \
		--prefix --tail 20 --max-log-requests 50 --follow

port-forward:  ## Reach the API at http://localhost:8080, or PORT, until Ctrl-C.
	$(call need,kubectl)
	$(KUBECTL) port-forward \
		$$($(KUBECTL) get service --selector $(PODS)$(COMMA)app.kubernetes.io/component=api -o name) $(PORT):http

token:  ## Print the token that reads the API.
	$(call need,kubectl)
	@$(KUBECTL) get secret --selector $(PODS)$(COMMA)app.kubernetes.io/component=tokens \
		-o go-template='{{range .items}}{{.data.read | base64decode}}{{"\n"}}{{end}}'

COMMA := ,
