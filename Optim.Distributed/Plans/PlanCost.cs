namespace Optim.Distributed;

/// <summary>What a step of a plan costs the ranks, counted message by message on its buckets and the tree, without sending any.</summary>
/// <param name="Elements">Elements that the rank steps that has most.</param>
/// <param name="LargestBucket">Bytes of the largest bucket.</param>
/// <param name="Sent">Bytes that the rank sends that sends most: gradients, and parameters.</param>
/// <param name="Messages">Messages of the rank that sends most of them.</param>
/// <param name="Between">Messages to other nodes, of the rank that sends most of these.</param>
internal readonly record struct PlanCost(long Elements, long LargestBucket, long Sent, long Messages, long Between)
{
    /// <summary>Counts what all ranks send.</summary>
    /// <param name="plan">Who steps what.</param>
    /// <param name="bucketBytes">Bytes of a bucket, about.</param>
    /// <param name="ranksOfNode">How many neighbouring ranks are on a node.</param>
    public static PlanCost Of(ShardPlan plan, long bucketBytes, int ranksOfNode)
    {
        var tree = new RankTree(plan.Ranks);
        var (divided, replicated) = Bucket.Of(plan, tree, bucketBytes);
        Bucket[] all = [.. divided, .. replicated];
        var patterns = Patterns(all, plan.Ranks);
        var (sent, messages, between) = (0L, 0L, 0L);
        for (var rank = 0; rank < plan.Ranks; rank++)
        {
            var of = (Sent: 0L, Messages: 0L, Between: 0L);
            foreach (var move in tree.ReduceScatter(rank).Concat(tree.AllGather(rank)))
            {
                var isFar = move.Peer / ranksOfNode != rank / ranksOfNode;
                foreach (var pattern in patterns)
                {
                    var bytes = pattern.Between(move.SendFrom, move.SendTo);
                    if (bytes == 0)
                        continue;
                    of.Sent += bytes;
                    of.Messages += pattern.Count;
                    of.Between += isFar ? pattern.Count : 0;
                }
            }
            (sent, messages, between) = (Math.Max(sent, of.Sent), Math.Max(messages, of.Messages), Math.Max(between, of.Between));
        }
        var elements = new long[plan.Ranks];
        foreach (var tensor in plan.Tensors)
            if (tensor.Division == Division.Replicated)
                for (var rank = 0; rank < plan.Ranks; rank++)
                    elements[rank] += tensor.Layout.Count;
            else
                foreach (var slice in tensor.Slices)
                    elements[slice.Rank] += slice.Length;
        return new(elements.Max(), all.Select(bucket => (long)bucket.Bytes).DefaultIfEmpty().Max(), sent, messages, between);
    }

    /// <summary>Buckets that have something for the same ranks send the same messages.</summary>
    private static List<Pattern> Patterns(Bucket[] buckets, int ranks)
    {
        var found = new Dictionary<string, Pattern>();
        foreach (var bucket in buckets)
        {
            var offsets = bucket.Offsets();
            int[] places = [.. Enumerable.Range(0, ranks).Where(place => offsets[place + 1] > offsets[place])];
            var key = string.Join(' ', places);
            if (!found.TryGetValue(key, out var pattern))
                found.Add(key, pattern = new(places));
            pattern.Count++;
            for (var i = 0; i < places.Length; i++)
                pattern.Bytes[i] += offsets[places[i] + 1] - offsets[places[i]];
        }
        return [.. found.Values];
    }

    /// <summary>Buckets with segments at the same places.</summary>
    private sealed class Pattern(int[] places)
    {
        public int Count { get; set; }

        /// <summary>Bytes of all of them at each place.</summary>
        public long[] Bytes { get; } = new long[places.Length];

        public long Between(int from, int to)
        {
            var bytes = 0L;
            for (var i = Array.BinarySearch(places, from) is var at && at < 0 ? ~at : at; i < places.Length && places[i] < to; i++)
                bytes += Bytes[i];
            return bytes;
        }
    }
}
