"""The matrices of a narrower student, each started from the projected teacher and fitted on a sample.

The fit goes from the embeddings up. Each sub-layer of the student (attention or feed-forward) starts as a sub-layer of
the teacher. The student's stream is the hidden states that the student has computed so far. A first ridge regression
makes the sub-layer read this stream instead of the teacher's hidden states. A second regression fits the sub-layer's
output map, so that the layer norm after it gives the projected teacher state. No random number is drawn.

Names of axes: n real tokens of the sample; B sequences of T tokens in one of its batches; t teacher width, s student
width; H heads of width e in the teacher and d in the student; i teacher's intermediate width, j the student's; p inputs
of a map; V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel
from transformers.activations import ACT2FN

from bistil_ds.models.families import POOLER, Head, family_of
from bistil_ds.student.fitting import fit_norm, narrow, ridge, second_moment
from bistil_ds.student.sampling import Norm, Sample

# Where the inputs of the masked-LM head's activation are centred, in standard deviations of these inputs. So far above
# 0, the activation is almost the identity.
LINEAR_REGIME = 6.0


class Narrowing:
    """Fit a narrower student's tensors, and collect them by name in `state`.

    Call `embeddings`, then `attention` and `feed_forward` for each layer, then `head` or `pooler`. The first three
    return the student's stream on the sample, fp32 [n, s]; pass it to the next call.
    """

    def __init__(self, teacher: PreTrainedModel, config: PretrainedConfig, sample: Sample) -> None:
        self.family = family_of(teacher)
        self.teacher_state = teacher.state_dict()
        self.config = config
        self.sample = sample
        self.state: dict[str, Tensor] = {}

    def embeddings(self, projection_ts: Tensor) -> Tensor:
        """Map all embedding tables through one matrix and fit their layer norm."""
        name = self.family.embedding_norm
        norm = self.sample.norm(name)
        self.embedding_map_ts = norm.writer(projection_ts)
        for table in self.family.embedding_tables:
            self.state[table] = self._teacher(table) @ self.embedding_map_ts
        return self._norm(name, norm.inputs_nt @ self.embedding_map_ts, norm.outputs_nt @ projection_ts)

    def attention(self, layer: int, teacher_layer: int, stream_ns: Tensor, input_nt: Tensor, proj_ts: Tensor) -> Tensor:
        """Fit the self-attention of student layer `layer`, head by head.

        Queries and keys are narrowed together, to change the attention scores as little as possible. Values and the
        output map are narrowed together, to change their product as little as possible.

        Args:
            input_nt: the input of the teacher's layer `teacher_layer`.
            proj_ts: the projection from the teacher's to the student's state before the layer.
        """
        ours, theirs = self.family.layer(layer), self.family.layer(teacher_layer)
        heads = self.config.num_attention_heads
        width = self.config.hidden_size // heads
        norm = self.sample.norm(theirs.attention_norm)
        read_st, read_bias_t = ridge(stream_ns, input_nt, proj_ts.T)

        maps_se, biases_e, moments_Hee = {}, {}, {}
        for name in ("query", "key", "value"):
            weight_te, bias_e = self._teacher_linear(getattr(theirs, name))
            maps_se[name], biases_e[name] = read_st @ weight_te, read_bias_t @ weight_te + bias_e
            values_nHe = (stream_ns @ maps_se[name] + biases_e[name]).unflatten(-1, (heads, -1))
            if name != "query":
                # Remove the mean of keys and of values: the mean key adds the same to all scores of a query, and the
                # mean value acts as a bias.
                values_nHe = values_nHe - values_nHe.mean(0)
            moments_Hee[name] = second_moment(values_nHe)
        output_Het = self._teacher_linear(theirs.attention_output)[0].unflatten(0, (heads, -1))
        written_Hes = (output_Het @ norm.writer(proj_ts)).double()

        query_map_Hed, key_map_Hed = narrow(moments_Hee["query"], moments_Hee["key"], width)
        value_map_Hed, output_map_Hed = narrow(moments_Hee["value"], written_Hes @ written_Hes.mT, width)
        # The student divides scores by the square root of its smaller head width; `gain` makes up for that.
        gain = (width / query_map_Hed.shape[1]) ** 0.25
        projected_ns = []
        for name, map_Hed in (
            ("query", query_map_Hed * gain),
            ("key", key_map_Hed * gain),
            ("value", value_map_Hed),
        ):
            weight_ss = torch.einsum("sHe,Hed->sHd", maps_se[name].unflatten(-1, (heads, -1)), map_Hed).flatten(1)
            bias_s = torch.einsum("He,Hed->Hd", biases_e[name].unflatten(-1, (heads, -1)), map_Hed).flatten()
            self._set_linear(getattr(ours, name), weight_ss, bias_s)
            projected_ns.append(stream_ns @ weight_ss + bias_s)
        prior_st = torch.einsum("Hed,Het->Hdt", output_map_Hed, output_Het).flatten(0, 1)
        names = ours.attention_output, ours.attention_norm
        return self._write(names, norm, self._attend(*projected_ns), prior_st, stream_ns, proj_ts)

    def feed_forward(
        self, layer: int, teacher_layer: int, stream_ns: Tensor, read_ts: Tensor, write_ts: Tensor
    ) -> Tensor:
        """Fit the feed-forward sub-layer of student layer `layer`, from the teacher's neurons that matter most.

        A neuron's score is the variance of its output on the sample, times the squared norm of its row in the output
        map.

        Args:
            read_ts, write_ts: the projections from the teacher's to the student's state before and after the layer.
        """
        ours, theirs = self.family.layer(layer), self.family.layer(teacher_layer)
        norm = self.sample.norm(theirs.norm)
        input_nt = self.sample.norm(theirs.attention_norm).outputs_nt
        weight_ti, bias_i = self._teacher_linear(theirs.inner)
        output_it, _ = self._teacher_linear(theirs.output)
        activation = ACT2FN[self.config.hidden_act]

        variance_i = activation(input_nt @ weight_ti + bias_i).var(0, correction=0)
        contribution_i = variance_i * (output_it @ norm.writer(write_ts)).square().sum(1)
        kept_j = contribution_i.topk(self.config.intermediate_size).indices.sort().values

        read_st, read_bias_t = ridge(stream_ns, input_nt, read_ts.T)
        weight_sj, bias_j = read_st @ weight_ti[:, kept_j], read_bias_t @ weight_ti[:, kept_j] + bias_i[kept_j]
        self._set_linear(ours.inner, weight_sj, bias_j)
        neurons_nj = activation(stream_ns @ weight_sj + bias_j)
        return self._write((ours.output, ours.norm), norm, neurons_nj, output_it[kept_j], stream_ns, write_ts)

    def pooler(self, projection_ts: Tensor) -> None:
        """Project the pooler, if the teacher has one; `projection_ts` is the projection of the last state."""
        if f"{POOLER}.dense.weight" in self.teacher_state:
            weight_tt, bias_t = self._teacher_linear(f"{POOLER}.dense")
            self._set_linear(f"{POOLER}.dense", projection_ts.T @ weight_tt @ projection_ts, bias_t @ projection_ts)

    def head(self, names: Head, stream_ns: Tensor, last_nt: Tensor) -> None:
        """Fit the masked-LM head. Its decoder is tied to the embeddings, so both are mapped by the same matrix.

        Args:
            names: names of the head's modules.
            last_nt: the teacher's last state.
        """
        assert names.dense is not None  # as in all families whose width can be reduced
        assert names.norm is not None
        assert names.bias is not None
        weight_tt, bias_t = self._teacher_linear(names.dense)
        norm_weight_t, norm_bias_t = (self._teacher(f"{names.norm}.{name}") for name in ("weight", "bias"))
        activation = ACT2FN[names.activation or self.config.hidden_act]
        hidden_nt = F.layer_norm(
            activation(last_nt @ weight_tt + bias_t),
            bias_t.shape,
            norm_weight_t,
            norm_bias_t,
            self.config.layer_norm_eps,
        )
        # `wanted_ns`: the vectors whose products with the student's decoder are closest to the teacher's logits.
        decoder_Vt = self._teacher(f"{names.decoder}.weight")
        gram_tt = sum((block.double().T @ block.double() for block in decoder_Vt.split(8192)), torch.zeros(()))
        map_ts = self.embedding_map_ts.double()
        pull_ts = torch.linalg.solve(map_ts.T @ gram_tt @ map_ts, map_ts.T @ gram_tt).T.float()
        wanted_ns = hidden_nt @ pull_ts

        # In the layers, the linear map after the activation is fitted and makes up for dropped neurons. Here that map
        # is the decoder, which is tied and cannot be fitted. So the inputs of the activation are moved to where it is
        # nearly linear, and the norm removes the offset.
        weight_ss, bias_s = ridge(stream_ns, wanted_ns, pull_ts.new_zeros(pull_ts.shape[1], pull_ts.shape[1]))
        fitted_ns = stream_ns @ weight_ss + bias_s
        weight_ss, bias_s = weight_ss / fitted_ns.std(), (bias_s - fitted_ns.mean()) / fitted_ns.std() + LINEAR_REGIME
        self._set_linear(names.dense, weight_ss, bias_s)
        self._norm(names.norm, activation(stream_ns @ weight_ss + bias_s), wanted_ns)
        self.state[f"{names.decoder}.weight"] = decoder_Vt @ self.embedding_map_ts
        for name in (f"{names.decoder}.bias", names.bias):
            self.state[name] = self._teacher(name).clone()

    def _write(
        self,
        names: tuple[str, str],
        norm: Norm,
        inputs_np: Tensor,
        prior_pt: Tensor,
        stream_ns: Tensor,
        projection_ts: Tensor,
    ) -> Tensor:
        """Fit a linear map whose output is added to the stream, and the layer norm that follows.

        `names` are the names of the map and of the norm; `prior_pt` is the teacher's map. Return the norm's outputs,
        fp32 [n, s].
        """
        writer_ts = norm.writer(projection_ts)
        wanted_ns = norm.inputs_nt @ writer_ts
        # The norm reads stream + map output, and removes the scale of that sum. So the sum may be any multiple of
        # `wanted`, and the map's target is `wanted / share - stream`. One ridge regression on the map's inputs predicts
        # both `wanted` and the stream. What it cannot predict of the two gives `share`: the coefficient of a regression
        # of the rest of `wanted` on the rest of the stream.
        prior_p2s = torch.cat([prior_pt @ writer_ts, prior_pt.new_zeros(len(prior_pt), stream_ns.shape[1])], 1)
        both_n2s = torch.cat([wanted_ns, stream_ns], 1)
        weight_p2s, bias_2s = ridge(inputs_np, both_n2s, prior_p2s)
        open_wanted_ns, open_stream_ns = (both_n2s - inputs_np @ weight_p2s - bias_2s).chunk(2, 1)
        share = (open_wanted_ns * open_stream_ns).sum() / open_stream_ns.square().sum().clamp_min(1e-12)
        share = share.clamp_min(0.1)  # a layer that hardly depends on the stream would divide by almost 0
        (wanted_weight_ps, stream_weight_ps), (wanted_bias_s, stream_bias_s) = weight_p2s.chunk(2, 1), bias_2s.chunk(2)
        weight_ps, bias_s = wanted_weight_ps / share - stream_weight_ps, wanted_bias_s / share - stream_bias_s
        self._set_linear(names[0], weight_ps, bias_s)
        sums_ns = stream_ns + inputs_np @ weight_ps + bias_s
        return self._norm(names[1], sums_ns, norm.outputs_nt @ projection_ts)

    def _attend(self, query_ns: Tensor, key_ns: Tensor, value_ns: Tensor) -> Tensor:
        """Run attention within each sequence of the sample; inputs and result are fp32 [n, s]."""
        heads = self.config.num_attention_heads
        lengths: Sequence[int] = [int(mask_BT.sum()) for mask_BT in self.sample.masks_BT]
        contexts_ns = []
        for mask_BT, *rows_ns in zip(self.sample.masks_BT, *(x.split(lengths) for x in (query_ns, key_ns, value_ns))):
            padded_BTs = [
                x.new_zeros(*mask_BT.shape, x.shape[-1]).masked_scatter(mask_BT[..., None], x) for x in rows_ns
            ]
            q_BHTd, k_BHTd, v_BHTd = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in padded_BTs)
            context_BHTd = F.scaled_dot_product_attention(q_BHTd, k_BHTd, v_BHTd, mask_BT[:, None, None, :])
            contexts_ns.append(context_BHTd.transpose(1, 2).flatten(2)[mask_BT])
        return torch.cat(contexts_ns)

    def _teacher(self, name: str) -> Tensor:
        return self.teacher_state[name].float()

    def _teacher_linear(self, name: str) -> tuple[Tensor, Tensor]:
        """Return the fp32 weight [in, out] and bias [out] of the teacher's linear map `name`."""
        return self._teacher(f"{name}.weight").T, self._teacher(f"{name}.bias")

    def _set_linear(self, name: str, weight_io: Tensor, bias_o: Tensor) -> None:
        self.state[f"{name}.weight"], self.state[f"{name}.bias"] = weight_io.T.contiguous(), bias_o

    def _norm(self, name: str, inputs_ns: Tensor, targets_ns: Tensor) -> Tensor:
        """Fit the student's layer norm `name` and return its outputs."""
        eps = self.config.layer_norm_eps
        weight_s, bias_s = fit_norm(inputs_ns, targets_ns, eps)
        self.state[f"{name}.weight"], self.state[f"{name}.bias"] = weight_s, bias_s
        return F.layer_norm(inputs_ns, weight_s.shape, weight_s, bias_s, eps)
